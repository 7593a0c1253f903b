-- ARGV: clock, then pairs of reference and the job that is not in the queue, or '' where
-- none was waiting. Returns for each the new job to enqueue, or '', and the number.

local answers = {}
for i = 2, #ARGV, 2 do
  local record = image(ARGV[i])
  local fields = record.fields
  local job = ''
  if not is_owed(record) then
    ask('ZREM', PREFIX .. 'owed', ARGV[i])
  elseif is_leased(record) then
    look_after(record, number(record, 'lease_until') + 1)
  elseif number(record, 'next_try') > now then
    look_after(record, number(record, 'next_try'))
  elseif (fields.job or '') == ARGV[i + 1] then
    put(record, 'job', nil)
    if fields.lease then
      job = bury(record, 'its process was lost')
    else
      enter_queued(record)
      job = carry(record)
    end
    save(record)
  end
  answers[#answers + 1] = job
  answers[#answers + 1] = number(record, 'requested')
end
return answers
