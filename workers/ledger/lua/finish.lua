-- ARGV: clock, reference, token, outcome, reason, digest, live digest, revision,
-- repository, places, next try, the registry's digest where another was restored in its
-- place, since when the registry has it no more; '' where there is none.
-- Returns the job to enqueue or ''.

local reference, token, outcome, reason = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
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

local held = ARGV[12] ~= '' and ARGV[12] or nil
if ARGV[6] ~= '' then
  if outcome ~= 'removed' then
    put(record, 'digest', held or ARGV[6])
  end
  put(record, 'run_digest', ARGV[6])
end
local is_good = outcome == 'published' or outcome == 'unchanged'
local was_live = fields.live_digest
if is_good or outcome == 'removed' then
  begin_lives(record)
  put(record, 'held', held)
  put(record, 'gone_since', nil)
elseif ARGV[13] ~= '' then
  put(record, 'gone_since', stamp(tonumber(ARGV[13])))
elseif fields.run_digest then
  put(record, 'gone_since', nil)
end
if is_good then
  local live = ARGV[7] ~= '' and ARGV[7] or fields.run_digest
  if live ~= fields.live_digest or outcome == 'published' then
    put(record, 'live_since', stamp(now))
  end
  if live ~= fields.live_digest then
    put(record, 'moved_since', stamp(now))
  end
  put(record, 'live_digest', live)
  for i, name in pairs({[8] = 'revision', [9] = 'repository', [10] = 'places'}) do
    if ARGV[i] ~= '' then
      put(record, name, ARGV[i])
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
  for _, name in ipairs({'revision', 'repository', 'places'}) do
    put(record, name, nil)
  end
end

local lease_number = number(record, 'lease_number')
local next_try = tonumber(ARGV[11])
local is_final = outcome ~= 'superseded' and not next_try
end_run(record, outcome, reason ~= '' and reason or nil, next_try)
put(record, 'ended', token)
put(record, 'deaths', nil)
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

local job = ''
if outcome ~= 'superseded' then
  enter_ended(record, is_good and 'live' or outcome, reason)
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
