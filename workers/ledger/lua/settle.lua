-- What a repository itself says of a reference becomes what the ledger says.
-- ARGV: clock, reference, repository, its revision, live digest or '' where nothing is
-- published, places, time of publication, the registry's digest that it was restored in
-- place of or ''.
-- Returns 'live', 'gone', 'other' (published, but not what the registry has),
-- 'same' where nothing changed, 'newer' where the ledger knows of a later revision, and
-- 'elsewhere' where another repository has it.

local reference, repository, revision = ARGV[2], ARGV[3], tonumber(ARGV[4])
local live, places, published, held = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local record = image(reference)
local fields = record.fields

if live == '' and not fields.live_digest then
  return 'same'
end
if fields.live_digest and fields.repository ~= repository then
  return 'elsewhere'
end
if fields.repository == repository and number(record, 'revision') > revision then
  return 'newer'
end

put(record, 'requested', number(record, 'requested'))
put(record, 'done', number(record, 'done'))
begin_lives(record)
local is_other = fields.live_digest ~= live
local was_live = fields.live_digest
if live == '' then
  for _, name in ipairs({'live_digest', 'live_since', 'moved_since', 'revision', 'places',
    'held'}) do
    put(record, name, nil)
  end
elseif is_other then
  put(record, 'live_digest', live)
  put(record, 'live_since', stamp(tonumber(published)))
  put(record, 'moved_since', stamp(tonumber(published)))
  put(record, 'repository', repository)
  put(record, 'revision', revision)
end
if live ~= '' then
  put(record, 'held', held)
  put(record, 'places', places)
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
  enter(record, 'removed', why)
end
if not next(record.changed) then
  return 'same'
end
save(record)
if live == '' then
  return 'gone'
end
if not is_other and fields.state ~= 'live' then
  return 'same'
end
return is_live and 'live' or 'other'
