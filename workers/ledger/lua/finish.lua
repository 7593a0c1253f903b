-- ARGV: clock, reference, token, result: a RunResult of records.py as JSON, without what
-- is None. Returns the job to enqueue or ''.

local reference, token, result = ARGV[2], ARGV[3], cjson.decode(ARGV[4])
local outcome, reason = result.outcome, result.reason or ''
local record = image(reference)
local fields = record.fields

if fields.lease ~= token then
  if fields.ended == token then
    -- The call was repeated because its answer was lost.
    return fields.job or ''
  end
  if outcome == 'published' then
    -- It published although another may have published since: one more run looks at
    -- what the registry has now, and sets it right.
    -- If it was to be removed or restored, that is what it sets right.
    local job = want(record, fields.source or 'repair', nil, false, fields.order)
    save(record)
    return job
  end
  return ''
end

local held = result.restored_instead_of
if result.digest then
  if outcome ~= 'removed' then
    put(record, 'digest', held or result.digest)
  end
  put(record, 'run_digest', result.digest)
end
if result.is_public ~= nil then
  put_flag(record, 'is_public', result.is_public)
end
local is_good = outcome == 'published' or outcome == 'unchanged'
local was_live = fields.live_digest
if is_good or outcome == 'removed' then
  begin_lives(record)
  put(record, 'held', held)
  put(record, 'gone_since', nil)
elseif result.gone_since then
  put(record, 'gone_since', stamp(result.gone_since))
elseif fields.run_digest then
  put(record, 'gone_since', nil)
end
if is_good then
  local live = fields.run_digest
  if live ~= fields.live_digest or outcome == 'published' then
    put(record, 'live_since', stamp(now))
  end
  if live ~= fields.live_digest then
    put(record, 'moved_since', stamp(now))
  end
  put(record, 'live_digest', live)
  for _, name in ipairs(LIVE_FIELDS) do
    if result[name] ~= nil then
      put(record, name, result[name])
    end
  end
elseif outcome == 'removed' then
  put(record, 'live_digest', nil)
  put(record, 'live_since', nil)
  put(record, 'moved_since', nil)
end
if fields.live_digest ~= was_live then
  note_live(record)
end
if outcome == 'removed' then
  for _, name in ipairs(LIVE_FIELDS) do
    put(record, name, nil)
  end
end

local lease_number = number(record, 'lease_number')
local next_try = result.next_try
local is_final = outcome ~= 'superseded' and not next_try
local is_open = result.is_reason_open
end_run(record, outcome, reason ~= '' and reason or nil, is_open, next_try)
put(record, 'ended', token)
put(record, 'deaths', nil)
if result.is_counted == false then
  put(record, 'attempts', number(record, 'attempts') - 1)
end
if result.is_given_up then
  put(record, 'given_up', stamp(now))
end
if outcome == 'superseded' then
  put(record, 'overtaken', number(record, 'overtaken') + 1)
  if number(record, 'requested') == lease_number then
    -- The registry's tag moved before its event reached us.
    put(record, 'requested', lease_number + 1)
  end
elseif is_final then
  put(record, 'overtaken', nil)
  put(record, 'done', lease_number)
end

if outcome == 'refused' and not fields.run_digest then
  turn_away(record)
end
local job = ''
if outcome ~= 'superseded' then
  enter_ended(record, is_good and 'live' or outcome, reason, is_open)
end
if not is_owed(record) then
  settle(record)
elseif number(record, 'requested') == lease_number then
  put(record, 'next_try', stamp(next_try))
  look_after(record, next_try)
else
  put(record, 'next_try', nil)
  enter_queued(record)
  job = carry(record)
end
save(record)
if outcome == 'removed' and not is_owed(record) and was_never_live(record) then
  -- A name that somebody mistyped.
  forget(reference, fields.state)
end
return job
