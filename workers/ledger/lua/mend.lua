-- Take out of a record what cannot be read, and make it one again that can be.
-- ARGV: clock, reference, '1' where it is canonical, so that a job could look at it, then
-- pairs of a field and the value that it had when it was read: one that another has
-- written meanwhile stays.

local record = image(ARGV[2])
local fields = record.fields
if ARGV[3] == '' then
  forget(record.reference, fields.state or '')
  return 1
end
for i = 4, #ARGV, 2 do
  if fields[ARGV[i]] == ARGV[i + 1] then
    put(record, ARGV[i], nil)
  end
end
if fields.live_digest and not moment(fields.live_since) then
  put(record, 'live_since', moment(fields.moved_since) or stamp(now))
end
for _, name in ipairs({'requested', 'done'}) do
  put(record, name, number(record, name))
end
local is_over = not is_leased(record)
if is_over and fields.lease then
  bury(record, 'its record was damaged')
  put(record, 'job', nil)
end
local state = fields.state
if state == 'removed' or state == 'refused' or state == 'failed' then
  enter(record, state, fields.reason)
elseif is_over and fields.live_digest then
  enter_live(record)
elseif not is_over then
  -- The run goes on; only how it began is not known.
  put(record, 'attempts', math.max(1, number(record, 'attempts')))
  put(record, 'lease_number', finite(fields.lease_number) or number(record, 'requested'))
  put(record, 'run_started', moment(fields.run_started) or stamp(now))
  if not state then
    enter(record, fields.stage or 'resolving')
  end
else
  -- What was under way, or is not known: a look at the registry tells.
  if not is_owed(record) then
    put(record, 'requested', number(record, 'done') + 1)
  end
  enter(record, 'queued')
end
if is_owed(record) and is_over then
  look_after(record, now)
elseif not is_owed(record) then
  ask('ZREM', PREFIX .. 'owed', record.reference)
end
put(record, 'since', moment(fields.since) or stamp(now))
-- The lists that lead to it may have been lost.
for _, list in ipairs({'images', 'state:' .. fields.state}) do
  ask('ZADD', PREFIX .. list, 'NX', stamp(now), record.reference)
end
save(record)
return 1
