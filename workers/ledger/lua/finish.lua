-- ARGV: clock, reference, token, outcome, reason, digest, live digest, revision,
-- repository, path, next try; '' where there is none. Returns the job to enqueue or ''.

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
    local job = want(record, fields.source or 'repair', nil, false)
    save(record)
    return job
  end
  return ''
end

if ARGV[6] ~= '' then
  put(record, 'digest', ARGV[6])
  put(record, 'run_digest', ARGV[6])
end
local is_good = outcome == 'published' or outcome == 'unchanged'
if is_good then
  local live = ARGV[7] ~= '' and ARGV[7] or fields.run_digest
  if live ~= fields.live_digest or outcome == 'published' then
    put(record, 'live_since', stamp(now))
  end
  put(record, 'live_digest', live)
  for i, name in pairs({[8] = 'revision', [9] = 'repository', [10] = 'path'}) do
    if ARGV[i] ~= '' then
      put(record, name, ARGV[i])
    end
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
return job
