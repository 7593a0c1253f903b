-- ARGV: clock, delivery id, its time, its JSON ('' for a request without a delivery),
-- source, '1' where it forces a rebuild, 'idle' where it is only for what nothing is owed
-- to, 'again' where it is what was asked for before, only for what came to nothing,
-- then for each event: reference, verdict, reason, unique id, hint JSON, digest, when it
-- was sent by its sender's clock or '', order or ''.
-- Returns for each event: verdict, job to enqueue or '', number.

local delivery, delivery_time, json = ARGV[2], ARGV[3], ARGV[4]
local source, forced, is_for_idle = ARGV[5], ARGV[6] == '1', ARGV[6] == 'idle'
local is_again = ARGV[6] == 'again'
local answers, verdicts = {}, {}

-- Names that nobody may publish cost a sender nothing, so their number is bounded.
local function forget_refused()
  local key = PREFIX .. 'state:refused'
  local surplus = ask('ZCARD', key) - REFUSED_KEPT
  if surplus <= 0 then
    return
  end
  for _, reference in ipairs(ask('ZRANGE', key, 0, math.min(surplus, 10) - 1)) do
    local record = image(reference)
    if not record.fields.live_digest and not is_owed(record) then
      forget(reference, 'refused')
    end
  end
end

local function refuse(reference, reason)
  local record = image(reference)
  turn_away(record)
  if record.fields.live_digest or is_owed(record) or is_leased(record) then
    return
  end
  put(record, 'requested', number(record, 'requested'))
  put(record, 'done', number(record, 'requested'))
  enter(record, 'refused', reason, true)
  save(record)
  forget_refused()
end

for i = 7, #ARGV, 8 do
  local reference, verdict, reason, unique = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local job, requested = '', 0
  if unique ~= '' and verdict == 'queued' then
    -- Hashed, because what a sender calls its id may be of any length.
    local seen = PREFIX .. 'seen:' .. redis.sha1hex(source .. '\n' .. unique)
    if not ask('SET', seen, '1', 'NX', 'EX', UNIQUE_SECONDS) then
      verdict = 'duplicate'
    end
  end
  if verdict == 'queued' and is_for_idle and is_owed(image(reference)) then
    verdict = 'ignored'
  end
  if verdict == 'queued' and is_again then
    local state = image(reference).fields.state
    if state ~= 'failed' and state ~= 'refused' then
      verdict = 'ignored'
    end
  end
  if verdict == 'queued' then
    local record = image(reference)
    local order = is_again and record.fields.order or ARGV[i + 7]
    local hint = nil
    if ARGV[i + 4] ~= '' then
      hint = {json = ARGV[i + 4], digest = ARGV[i + 5], sent = ARGV[i + 6]}
    end
    job = want(record, source, hint, forced, order)
    requested = number(record, 'requested')
    save(record)
  elseif verdict == 'refused' and reference ~= '' then
    refuse(reference, reason)
  end
  if json ~= '' then
    count('events:' .. verdict .. ':' .. source)
  end
  verdicts[#verdicts + 1] = verdict
  answers[#answers + 1] = verdict
  answers[#answers + 1] = job
  answers[#answers + 1] = requested
end

if json ~= '' then
  count('deliveries:' .. source)
  local index, bodies = PREFIX .. 'deliveries', PREFIX .. 'delivery'
  ask('ZADD', index, delivery_time, delivery)
  ask('HSET', bodies, delivery, table.concat(verdicts, ',') .. '\n' .. json)
  -- A few at a time, so that no delivery waits for the burial of thousands.
  local surplus = math.min(ask('ZCARD', index) - DELIVERIES_KEPT, 10)
  local old
  if surplus > 0 then
    old = ask('ZRANGE', index, 0, surplus - 1)
  else
    old = ask('ZRANGEBYSCORE', index, '-inf', stamp(now - DELIVERY_SECONDS),
      'LIMIT', 0, 10)
  end
  if #old > 0 then
    ask('ZREM', index, unpack(old))
    ask('HDEL', bodies, unpack(old))
  end
end
return answers
