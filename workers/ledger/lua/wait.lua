-- ARGV: clock. Returns in how many seconds something owed is due, '' for nothing.

local first = ask('ZRANGE', PREFIX .. 'owed', 0, 0, 'WITHSCORES')
if #first == 0 then
  return ''
end
return stamp(math.max(0, tonumber(first[2]) - now))
