-- ARGV: clock, reference, worker, how it died or '' when it was stopped on purpose.
-- Returns the job to enqueue or ''.

local record = image(ARGV[2])
if not record.fields.lease or record.fields.lease_worker ~= ARGV[3] then
  return ''
end
local job
if ARGV[4] ~= '' then
  job = bury(record, ARGV[4])
else
  -- Not the image's fault, so it does not count.
  local attempts = number(record, 'attempts')
  end_run(record, 'failed', 'the worker was stopped; the image waits for another', true)
  put(record, 'attempts', attempts - 1)
  enter_queued(record)
  job = carry(record)
end
save(record)
return job
