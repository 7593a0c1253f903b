-- ARGV: clock, reference, why. Nothing is owed to the reference any more: what waits is not
-- begun, and a run that is under way has lost its lease, which ends it. Returns '1', or
-- '' if nothing was owed.

local record = image(ARGV[2])
if not is_owed(record) then
  return ''
end
if record.fields.lease then
  put(record, 'cancelled', record.fields.lease_worker)
  end_run(record, 'failed', ARGV[3], true)
else
  put(record, 'run_digest', nil)
end
settle(record)
for _, name in ipairs({'deaths', 'overtaken', 'attempts', 'order'}) do
  put(record, name, nil)
end
enter_ended(record, 'failed', ARGV[3], true)
save(record)
return '1'
