-- ARGV: clock. Returns in how many seconds something owed is due, '' for nothing; below
-- zero: since when nobody has looked after it.

local first = ask('ZRANGE', PREFIX .. 'owed', 0, 0, 'WITHSCORES')
if #first == 0 then
  return ''
end
return stamp(tonumber(first[2]) - now)
