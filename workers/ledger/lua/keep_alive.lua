-- ARGV: clock, reference, token, lease seconds. Returns 1, or 0 when the lease is lost.
-- A lease that has run out but that nobody took is still its holder's.

local record = image(ARGV[2])
if record.fields.lease ~= ARGV[3] then
  return 0
end
put(record, 'lease_until', stamp(now + tonumber(ARGV[4])))
look_after(record, now + tonumber(ARGV[4]) + 1)
save(record)
return 1
