-- ARGV: clock, how many. Returns the time, then reference and waiting job or '' of what
-- is owed and due.

local answer = {stamp(now)}
local due = redis.call('ZRANGEBYSCORE', PREFIX .. 'owed', '-inf', stamp(now),
  'LIMIT', 0, tonumber(ARGV[2]))
for _, reference in ipairs(due) do
  local job = redis.call('HGET', PREFIX .. 'image:' .. reference, 'job')
  answer[#answer + 1] = reference
  answer[#answer + 1] = job or ''
end
return answer
