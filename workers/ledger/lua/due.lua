-- ARGV: clock, how many. Returns the time, then reference and waiting job or '' of what
-- is owed and due.

local answer = {stamp(now)}
local due = ask('ZRANGEBYSCORE', PREFIX .. 'owed', '-inf', stamp(now),
  'LIMIT', 0, tonumber(ARGV[2]))
for _, reference in ipairs(due) do
  if string.find(reference, '[^!-~]') then
    -- No reference has such bytes, so no job could be made for it.
    redis.log(redis.LOG_WARNING, 'cvmfs-webhook: no reference in owed is dropped')
    ask('ZREM', PREFIX .. 'owed', reference)
  else
    local job = ask('HGET', PREFIX .. 'image:' .. reference, 'job')
    answer[#answer + 1] = reference
    answer[#answer + 1] = job or ''
  end
end
return answer
