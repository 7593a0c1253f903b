-- ARGV: clock, reference, token, said: JSON with any of stage (without it, progress
-- alone), digest, progress and is_public. Changes nothing when the lease is lost.

local said = cjson.decode(ARGV[4])
local stage = said.stage
local record = image(ARGV[2])
local fields = record.fields
if fields.lease ~= ARGV[3] then
  return 0
end
if said.digest then
  put(record, 'digest', said.digest)
  put(record, 'run_digest', said.digest)
end
if said.is_public ~= nil then
  put_flag(record, 'is_public', said.is_public)
end
if said.progress then
  put(record, 'progress', said.progress)
end
if stage and fields.stage ~= stage then
  leave_stage(record)
  put(record, 'stage', stage)
  put(record, 'stage_since', stamp(now))
end
if stage then
  -- A look at what is live, or a rebuild of it, does not make it less live.
  local is_live
  if fields.run_digest then
    is_live = is_answered(record, fields.run_digest)
  else
    is_live = fields.state == 'live'
  end
  if is_live then
    enter_live(record)
  else
    enter(record, stage)
  end
end
save(record)
return 1
