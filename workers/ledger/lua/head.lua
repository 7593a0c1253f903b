-- The newest head of a repository that anybody saw. ARGV: clock, fqrn, revision, hash of
-- the root catalog, '1' if it takes the place of a newer one. Returns nothing.

local key = PREFIX .. 'head:' .. ARGV[2]
local known = finite(ask('HGET', key, 'revision'))
if ARGV[5] == '1' or not known or known < tonumber(ARGV[3]) then
  ask('HSET', key, 'revision', ARGV[3], 'root', ARGV[4], 'seen', stamp(now))
end
