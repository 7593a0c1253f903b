-- ARGV: clock, reference, token, worker, lease seconds.
-- Returns nothing, or: number, attempt, overtaken, hint JSON or '', its age in seconds or
-- '', '1' if forced, order or ''.

local reference, token, worker = ARGV[2], ARGV[3], ARGV[4]
local lease_seconds = tonumber(ARGV[5])
local record = image(reference)
local fields = record.fields

local function lease()
  local forced = number(record, 'forced') > number(record, 'done')
  local age = finite(fields.hint_taken) and stamp(now - number(record, 'hint_taken'))
  return {number(record, 'lease_number'), number(record, 'attempts'),
    number(record, 'overtaken'), fields.hint or '', age or '', forced and '1' or '',
    fields.order or ''}
end

-- The call was repeated because its answer was lost.
if fields.lease == token then
  return lease()
end
-- Whoever calls has come out of the queue, so nobody waits there now.
put(record, 'job', nil)
if is_leased(record) then
  save(record)
  return false
end
if fields.lease then
  bury(record, 'its process was lost')
  put(record, 'job', nil)
end
if not is_owed(record) then
  save(record)
  return false
end
if number(record, 'next_try') > now then
  look_after(record, number(record, 'next_try'))
  save(record)
  return false
end

if number(record, 'started') ~= number(record, 'requested') then
  put(record, 'attempts', 0)
  put(record, 'deaths', 0)
end
put(record, 'attempts', number(record, 'attempts') + 1)
put(record, 'started', number(record, 'requested'))
put(record, 'next_try', nil)
put(record, 'lease', token)
put(record, 'lease_until', stamp(now + lease_seconds))
put(record, 'lease_number', number(record, 'requested'))
put(record, 'lease_worker', worker)
put(record, 'run_started', stamp(now))
put(record, 'run_source', fields.source)
put(record, 'run_digest', nil)
put(record, 'run_hint', fields.hint_digest)
put(record, 'run_order', fields.order)
put(record, 'stage', 'resolving')
put(record, 'stage_since', stamp(now))
look_after(record, now + lease_seconds + 1)
if fields.state ~= 'live' then
  enter(record, 'resolving')
end
save(record)
return lease()
