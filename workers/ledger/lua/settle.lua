-- What a repository itself says of a reference becomes what the ledger says.
-- ARGV: clock, reference, repository, its revision, image: a Published of rebuilding.py
-- as JSON, without what is None; '' where nothing is published. '1' if later revisions
-- that the ledger knows of count no more.
-- Returns 'live', 'gone', 'other' (published, but not what the registry has),
-- 'same' where nothing changed, 'newer' where the ledger knows of a later revision, and
-- 'elsewhere' where another repository has it.

local reference, repository, revision = ARGV[2], ARGV[3], tonumber(ARGV[4])
local there = ARGV[5] ~= '' and cjson.decode(ARGV[5]) or {}
local live = there.digest
local record = image(reference)
local fields = record.fields

if not live and not fields.live_digest then
  return 'same'
end
if fields.live_digest and fields.repository and fields.repository ~= repository then
  return 'elsewhere'
end
if fields.repository == repository and number(record, 'revision') > revision
  and ARGV[6] ~= '1' then
  return 'newer'
end

put(record, 'requested', number(record, 'requested'))
put(record, 'done', number(record, 'done'))
begin_lives(record)
local is_other = fields.live_digest ~= live
local was_live = fields.live_digest
if not live then
  for _, name in ipairs({'live_digest', 'live_since', 'moved_since', 'held'}) do
    put(record, name, nil)
  end
elseif is_other then
  put(record, 'live_digest', live)
  put(record, 'live_since', stamp(there.published))
  put(record, 'moved_since', stamp(there.published))
end
if is_other then
  -- What is not known of another digest is known no more; where the last one was, is.
  for _, name in ipairs(LIVE_FIELDS) do
    if live or name ~= 'repository' then
      put(record, name, nil)
    end
  end
end
if live then
  put(record, 'held', there.restored_instead_of)
  for _, name in ipairs(LIVE_FIELDS) do
    if there[name] ~= nil then
      put(record, name, there[name])
    end
  end
  if is_other or not fields.repository or not fields.revision
    or number(record, 'revision') > revision then
    put(record, 'repository', repository)
    put(record, 'revision', revision)
  end
end
if fields.live_digest ~= was_live then
  note_live(record)
end
if not fields.digest then
  put(record, 'digest', fields.held or fields.live_digest)
end

-- Work that is owed or under way says by itself how it ends.
local is_live = is_answered(record, fields.digest)
local why = string.format('revision %d of %s does not have it: publish it again',
  revision, repository)
if fields.live_digest and not is_live then
  why = string.format('revision %d of %s has %s instead: publish it again',
    revision, repository, string.sub(fields.live_digest, 1, 19))
end
if is_leased(record) then
  if not is_live and fields.state == 'live' then
    enter(record, fields.stage or 'resolving')
  end
elseif is_owed(record) then
  if not is_live and fields.state == 'live' then
    enter(record, 'queued')
  end
elseif is_live then
  enter_live(record)
elseif fields.state == 'live' or (fields.state == 'removed' and is_other) then
  enter(record, 'removed', why, true)
end
if not next(record.changed) then
  return 'same'
end
save(record)
if not live then
  return 'gone'
end
if not is_other and fields.state ~= 'live' then
  return 'same'
end
return is_live and 'live' or 'other'
