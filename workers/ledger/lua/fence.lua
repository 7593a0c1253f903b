-- ARGV: clock, seconds, the order that stops any run, then for each lease: reference,
-- token, number, '1' if no newer push may stop its run.
-- Returns for each '' when its run may publish now, else 'lost' or 'overtaken'.
--
-- One that may gets at least so many seconds to do it; no more, as whoever asks need not
-- be its holder, who may be dead.

local answers = {}
local seconds, stopping = tonumber(ARGV[2]), ARGV[3]
for i = 4, #ARGV, 4 do
  local record = image(ARGV[i])
  if record.fields.lease ~= ARGV[i + 1] then
    answers[#answers + 1] = 'lost'
  elseif number(record, 'requested') > tonumber(ARGV[i + 2])
    and (ARGV[i + 3] == '' or record.fields.order == stopping) then
    answers[#answers + 1] = 'overtaken'
  else
    if number(record, 'lease_until') < now + seconds then
      put(record, 'lease_until', stamp(now + seconds))
      look_after(record, now + seconds + 1)
      save(record)
    end
    answers[#answers + 1] = ''
  end
end
return answers
