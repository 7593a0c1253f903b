-- ARGV: clock, seconds, then for each lease: reference, token.
-- Returns for each '' when its run may publish now, else 'lost' or 'overtaken'.
--
-- One that may gets at least so many seconds to do it; no more, as whoever asks need not
-- be its holder, who may be dead.

local answers = {}
local seconds = tonumber(ARGV[2])
for i = 3, #ARGV, 2 do
  local record = image(ARGV[i])
  local why = standing(record, ARGV[i + 1])
  if why == 'lost' or why == 'overtaken' then
    answers[#answers + 1] = why
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
