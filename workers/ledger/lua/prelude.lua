-- What every script of the ledger begins with. ARGV[1] is the caller's clock in seconds,
-- or empty for this server's own, on which all machines agree.
--
-- An image is a hash. Its fields, all optional but the first four:
--   state since requested done   see ImageRecord
--   changed      when anything of the state changed; orders the listings
--   reason digest live_digest repository revision places size notes converter started
--   overtaken attempts next_try    see ImageRecord
--   live_since   when live_digest was published
--   moved_since  when the name began to lead to live_digest; publishing that anew leaves it
--   deaths       runs in a row, for the same number, whose process died
--   forced       the highest number that asked for a rebuild
--   source       of the newest request
--   hint hint_digest hint_source    of the newest request that had one; opaque JSON
--   hint_sent    when that happened by the clock of its sender, if he says it; compared
--                with nothing but the same of another event of the same source
--   hint_taken hint_number    when we took it, and the request that it came with
--   order        what the newest request wants done, where it is not a look at the
--                registry
--   held         the digest that the registry had when another was restored in its place
--   gone_since   when the registry was first found not to have it any more
--   is_public was_live is_reason_open    1 or absent; see ImageRecord
--   given_up     when it was tried often enough, until the next request
--   cancelled    whose run was, until the next request
--   job          id of the job that waits in the queue
--   lease lease_until lease_number lease_worker    token, and so on, of the running job
--   run_hint run_order    hint_digest and order when the run began
--   run_started run_digest run_source stage stage_since seconds:<stage> progress
--   last_run     the newest finished run, JSON
--
-- Work is owed exactly while requested > done, and then, and only then, the reference is
-- in the sorted set "owed", whose score is the time at which a sweep looks after it.
--
-- The sorted set "turned-away" has the references whose newest word was refused for the
-- name alone, by the time of that, until they are asked for again.
--
-- What strangers may see has listings of its own, "open" and "open:<state>"; the set
-- "unlived" has those of them that are there only because is_public says so.

local PREFIX = 'cvmfs-webhook:'
-- What is said of what is live, by the publication that made it so; goes with it.
local LIVE_FIELDS = {'revision', 'repository', 'places', 'size', 'notes', 'converter'}
local HINT_FIELDS = {'hint', 'hint_digest', 'hint_source', 'hint_sent', 'hint_taken',
  'hint_number'}
local EVENTS_KEPT = 10000
local RUNS_KEPT = 50
local LIVES_KEPT = 100
local DELIVERIES_KEPT = 10000
local DELIVERY_SECONDS = 30 * 86400
local REFUSED_KEPT = 10000
local UNIQUE_SECONDS = 86400
-- A job that was just handed out is given this long to appear in the queue. Whoever puts
-- it there adds to that (sweeping.py); who died before is made good for by the sweep.
local CARRY_SECONDS = 1
local DEATHS_ALLOWED = 5
-- After so many stops in a row a run completes, whatever is pushed meanwhile; as in
-- records.py.
local STOPS_ALLOWED = 2
-- Orders of orders.py that mean something here. A look is what is done without an order.
local REMOVE, LOOK = 'remove', 'look'
-- From the second death in a row on, each waits this much longer than the one before.
local DEATH_PAUSE_SECONDS = 10

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- Lua's own conversion keeps 14 digits, Redis's 17 of which the last are noise.
local function stamp(seconds)
  return string.format('%.6f', seconds)
end

-- Whatever somebody else wrote into a record harms that record and nothing besides: a
-- script that stops there could serve nobody any more.

local function has_failed(reply)
  return type(reply) == 'table' and reply.err ~= nil
end

-- redis.call, except that a key in which something else stands is put out of the way.
local function ask(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if not has_failed(reply) then
    return reply
  end
  if string.find(reply.err, 'WRONGTYPE', 1, true) then
    redis.log(redis.LOG_WARNING, 'cvmfs-webhook: set aside ' .. key)
    redis.call('RENAME', key, PREFIX .. 'set-aside:' .. key)
  end
  return redis.call(command, key, ...)
end

-- nil for what is no number that we could have written.
local function finite(text)
  local value = tonumber(text)
  if value and value == value and math.abs(value) < 2 ^ 53 then
    return value
  end
end

-- The text of a time as it is; nil for what no calendar has.
local function moment(text)
  local value = finite(text)
  if value and value >= 0 and value < 253402300800 then
    return text
  end
end

local function image(reference)
  local fields = {}
  local flat = ask('HGETALL', PREFIX .. 'image:' .. reference)
  for i = 1, #flat, 2 do
    fields[flat[i]] = flat[i + 1]
  end
  return {reference = reference, fields = fields, changed = {}, old_state = fields.state}
end

local function number(record, name)
  return finite(record.fields[name]) or 0
end

-- nil and the empty string take the field away.
local function put(record, name, value)
  if value == '' then
    value = nil
  elseif type(value) == 'number' then
    value = string.format(value % 1 == 0 and '%d' or '%.17g', value)
  end
  if record.fields[name] ~= value then
    record.fields[name] = value
    record.changed[name] = true
  end
end

-- nil and false take the field away.
local function put_flag(record, name, value)
  put(record, name, value and 1 or nil)
end

local function unlist(reference, state)
  ask('ZREM', PREFIX .. 'open', reference)
  ask('ZREM', PREFIX .. 'open:' .. (state or ''), reference)
  ask('SREM', PREFIX .. 'unlived', reference)
end

-- Put the record into the listings of what strangers may see, or take it out of them.
local function list_openly(record)
  local reference, fields = record.reference, record.fields
  if not fields.state then
    return
  end
  if record.old_state ~= fields.state or not (fields.was_live or fields.is_public) then
    unlist(reference, record.old_state)
  end
  if not (fields.was_live or fields.is_public) then
    return
  end
  local order = moment(fields.changed) or 0
  ask('ZADD', PREFIX .. 'open', order, reference)
  ask('ZADD', PREFIX .. 'open:' .. fields.state, order, reference)
  ask(fields.was_live and 'SREM' or 'SADD', PREFIX .. 'unlived', reference)
  record.old_state = fields.state
end

local function save(record)
  if record.fields.live_digest then
    put_flag(record, 'was_live', true)
  end
  local changed = record.changed
  if changed.state or changed.changed or changed.is_public or changed.was_live then
    list_openly(record)
  end
  local set, gone = {}, {}
  for name in pairs(record.changed) do
    local value = record.fields[name]
    if value == nil then
      gone[#gone + 1] = name
    else
      set[#set + 1] = name
      set[#set + 1] = value
    end
  end
  local key = PREFIX .. 'image:' .. record.reference
  if #set > 0 then
    ask('HSET', key, unpack(set))
  end
  if #gone > 0 then
    ask('HDEL', key, unpack(gone))
  end
end

local function look_after(record, time)
  ask('ZADD', PREFIX .. 'owed', stamp(time), record.reference)
end

local function is_owed(record)
  return number(record, 'requested') > number(record, 'done')
end

local function is_leased(record)
  return record.fields.lease ~= nil and number(record, 'lease_until') > now
end

-- Every change of a state goes through here. is_open: anybody may read the reason.
local function enter(record, state, reason, is_open)
  local fields = record.fields
  if reason == '' then
    reason = nil
  end
  put_flag(record, 'is_reason_open', reason and is_open)
  local since = fields.since
  if state == 'live' then
    since = moment(fields.live_since) or since
  elseif fields.state ~= state then
    since = stamp(now)
  end
  since = moment(since) or stamp(now)
  if fields.state == state and fields.reason == reason and fields.since == since then
    return
  end
  if fields.state and fields.state ~= state then
    ask('ZREM', PREFIX .. 'state:' .. fields.state, record.reference)
  end
  put(record, 'state', state)
  put(record, 'since', since)
  put(record, 'reason', reason)
  put(record, 'changed', stamp(now))
  ask('ZADD', PREFIX .. 'images', stamp(now), record.reference)
  ask('ZADD', PREFIX .. 'state:' .. state, stamp(now), record.reference)
  ask('XADD', PREFIX .. 'events', 'MAXLEN', '~', EVENTS_KEPT, '*',
    'time', stamp(now), 'reference', record.reference, 'state', state,
    'reason', reason or '', 'digest', fields.digest or '',
    'revision', state == 'live' and fields.revision or '')
end

-- Whether what is live is what is to be live while the registry has a digest: that one,
-- or what was restored in its place.
local function is_answered(record, digest)
  local fields = record.fields
  return fields.live_digest ~= nil and digest ~= nil
    and (digest == fields.live_digest or digest == fields.held)
end

local function enter_live(record)
  local held = record.fields.held
  enter(record, 'live', held and string.format(
    'restored by hand; the registry has %s…, the next push of another replaces it',
    string.sub(held, 1, 19)), true)
end

-- Write down what is live from now on; newest first. Without a digest: nothing.
local function note_live(record)
  local fields = record.fields
  local key = PREFIX .. 'lives:' .. record.reference
  ask('LPUSH', key, cjson.encode({
    digest = fields.live_digest, since = fields.live_since or stamp(now),
    revision = fields.live_digest and fields.revision,
    repository = fields.live_digest and fields.repository,
  }))
  ask('LTRIM', key, 0, LIVES_KEPT - 1)
end

local function was_never_live(record)
  return not record.fields.live_digest
    and ask('EXISTS', PREFIX .. 'lives:' .. record.reference) == 0
end

-- Records of before histories were kept have none of what is live.
local function begin_lives(record)
  if record.fields.live_digest
    and ask('EXISTS', PREFIX .. 'lives:' .. record.reference) == 0 then
    note_live(record)
  end
end

local function forget(reference, state)
  ask('DEL', PREFIX .. 'image:' .. reference, PREFIX .. 'runs:' .. reference,
    PREFIX .. 'lives:' .. reference)
  ask('ZREM', PREFIX .. 'images', reference)
  ask('ZREM', PREFIX .. 'owed', reference)
  ask('ZREM', PREFIX .. 'turned-away', reference)
  ask('ZREM', PREFIX .. 'state:' .. state, reference)
  unlist(reference, state)
end

-- While nothing says otherwise than that the live digest is the registry's, it is live.
local function enter_queued(record)
  local fields = record.fields
  if fields.state == 'live' and is_answered(record, fields.hint_digest) then
    return
  end
  enter(record, 'queued')
end

-- See that a job waits for the reference. Returns its id, which the caller of the script
-- must enqueue, or '' when one waits already.
local function carry(record)
  if record.fields.job then
    -- It may be lost, and nobody has looked after it while nothing was owed.
    ask('ZADD', PREFIX .. 'owed', 'NX', stamp(now + CARRY_SECONDS), record.reference)
    return ''
  end
  local jobs = PREFIX .. 'jobs'
  if has_failed(redis.pcall('INCR', jobs)) then
    -- No job has had so high a number yet.
    redis.call('SET', jobs, string.format('%d', now))
  end
  local job = string.sub(redis.sha1hex(record.reference), 1, 20)
    .. '-' .. redis.call('GET', jobs)
  put(record, 'job', job)
  look_after(record, now + CARRY_SECONDS)
  return job
end

-- What an order leads to; nil: what the registry has is to be live.
local function aim(order)
  if order ~= '' and order ~= LOOK then
    return order
  end
end

-- Whether a run that is under way answers a request as if it had begun after it: it has
-- that digest from the registry, and nothing else has been asked for since.
local function joins(record, hint, forced, order)
  local fields = record.fields
  return is_leased(record) and hint ~= nil and hint.digest ~= '' and not forced
    and hint.digest == fields.run_digest
    and not aim(order) and not aim(fields.run_order)
    and number(record, 'requested') == number(record, 'lease_number')
end

-- The run answers everything up to a request.
local function answer_up_to(record, requested)
  put(record, 'lease_number', requested)
  put(record, 'started', requested)
end

-- How the run stands that holds a lease: '' when it is all that is wanted, 'lost',
-- 'overtaken', or 'doubted' when only the registry knows whether its digest is still
-- the newest. It is overtaken by another digest, another order or a forced request, and
-- not by one that says no digest.
local function standing(record, token)
  local fields = record.fields
  local begun = number(record, 'lease_number')
  if fields.lease ~= token then
    return 'lost'
  elseif number(record, 'requested') <= begun then
    return ''
  end
  local target = fields.run_digest or fields.run_hint
  local newest = number(record, 'hint_number') > begun and fields.hint_digest or nil
  if aim(fields.order) ~= aim(fields.run_order)
    or number(record, 'forced') > begun
    or (not aim(fields.order) and newest and newest ~= target) then
    local may_stop = number(record, 'overtaken') < STOPS_ALLOWED
    return (may_stop or fields.order == REMOVE) and 'overtaken' or ''
  end
  return fields.run_digest and not aim(fields.order) and 'doubted' or ''
end

-- One more request. hint: {json, digest, sent} or nil. Returns the job to enqueue or ''.
local function want(record, source, hint, forced, order)
  local fields = record.fields
  local was_owed = is_owed(record)
  local is_joining = joins(record, hint, forced, order)
  -- More than what was ever answered, even if the count itself is lost.
  put(record, 'requested',
    math.max(number(record, 'requested'), number(record, 'done')) + 1)
  if not fields.done then
    put(record, 'done', 0)
  end
  if is_joining then
    answer_up_to(record, number(record, 'requested'))
  end
  if hint then
    -- Deliveries are repeated and overtake each other; what an old one says is no news.
    -- Clocks of two senders say nothing of each other, nor of ours.
    local sent, before = finite(hint.sent), finite(fields.hint_sent)
    local is_late = was_owed and fields.hint_source == source
      and sent and before and sent < before
    if not is_late then
      put(record, 'hint', hint.json)
      put(record, 'hint_digest', hint.digest)
      put(record, 'hint_source', source)
      put(record, 'hint_sent', hint.sent)
      put(record, 'hint_taken', stamp(now))
      put(record, 'hint_number', number(record, 'requested'))
    end
  elseif not was_owed then
    for _, name in ipairs(HINT_FIELDS) do
      put(record, name, nil)
    end
  end
  ask('ZREM', PREFIX .. 'turned-away', record.reference)
  put(record, 'source', source)
  put(record, 'order', order)
  if forced then
    put(record, 'forced', number(record, 'requested'))
  end
  put(record, 'next_try', nil)
  put(record, 'cancelled', nil)
  put(record, 'given_up', nil)
  if is_leased(record) then
    -- The running job asks again when it ends; if it dies, the sweep does.
    return ''
  end
  enter_queued(record)
  return carry(record)
end

local function leave_stage(record)
  local stage = record.fields.stage
  if stage and finite(record.fields.stage_since) then
    local field = 'seconds:' .. stage
    local spent = now - number(record, 'stage_since')
    put(record, field, stamp(number(record, field) + spent))
  end
end

-- For the metrics. The names are few and fixed: those of states, outcomes, verdicts and
-- of the configured sources.
local function count(name, by)
  local counters = PREFIX .. 'counters'
  if has_failed(redis.pcall('HINCRBYFLOAT', counters, name, by or 1)) then
    ask('HSET', counters, name, by or 1)
  end
end

-- Write the run into the history and take the lease away.
local function end_run(record, outcome, reason, is_open, next_try)
  local fields = record.fields
  leave_stage(record)
  local seconds = {}
  for name, value in pairs(fields) do
    local stage = string.match(name, '^seconds:(.+)$')
    if stage then
      seconds[stage] = finite(value)
      count('seconds:' .. stage, finite(value) or 0)
      put(record, name, nil)
    end
  end
  local run = cjson.encode({
    id = fields.lease, number = number(record, 'lease_number'), outcome = outcome,
    started = fields.run_started, ended = stamp(now), digest = fields.run_digest,
    reason = reason, is_reason_open = is_open,
    attempt = number(record, 'attempts'), next_try = next_try,
    source = fields.run_source, worker = fields.lease_worker, seconds = seconds,
  })
  put(record, 'last_run', run)
  count('runs:' .. outcome)
  local runs = PREFIX .. 'runs:' .. record.reference
  ask('LPUSH', runs, run)
  ask('LTRIM', runs, 0, RUNS_KEPT - 1)
  for _, name in ipairs({'lease', 'lease_until', 'lease_number', 'lease_worker',
    'run_started', 'run_source', 'run_hint', 'run_order', 'stage', 'stage_since',
    'progress'}) do
    put(record, name, nil)
  end
end

-- Another policy may decide otherwise.
local function turn_away(record)
  ask('ZADD', PREFIX .. 'turned-away', stamp(now), record.reference)
end

-- Live if what the registry has is live, else as the run ended. A run that never
-- learnt the registry's digest goes by what it was told.
local function enter_ended(record, state, reason, is_open)
  local fields = record.fields
  local known = fields.run_digest
  if not known then
    -- Refused before the registry was asked: what is published stays what it was.
    known = state == 'refused' and fields.live_digest or fields.hint_digest
  end
  if is_answered(record, known) then
    enter_live(record)
  else
    enter(record, state, reason, is_open)
  end
end

local function settle(record)
  put(record, 'done', number(record, 'requested'))
  put(record, 'next_try', nil)
  ask('ZREM', PREFIX .. 'owed', record.reference)
end

-- The process that held the lease is dead. Returns the job to enqueue or ''.
local function bury(record, how)
  local lease_number = number(record, 'lease_number')
  local is_new = number(record, 'requested') > lease_number
  local deaths = is_new and 0 or number(record, 'deaths') + 1
  end_run(record, 'failed', how, true)
  put(record, 'deaths', deaths)
  if deaths >= DEATHS_ALLOWED then
    settle(record)
    enter_ended(record, 'failed', string.format(
      'the worker died %d times on this image (%s); push a smaller or repaired image',
      deaths, how), true)
    return ''
  end
  enter_queued(record)
  if deaths > 1 then
    local next_try = now + DEATH_PAUSE_SECONDS * (deaths - 1)
    put(record, 'next_try', stamp(next_try))
    look_after(record, next_try)
    return ''
  end
  return carry(record)
end
