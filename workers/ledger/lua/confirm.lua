-- ARGV: clock, reference, token, number. The registry was asked after that request, and
-- has what the run works on: the run answers it, too.

local record = image(ARGV[2])
local asked = tonumber(ARGV[4])
if record.fields.lease ~= ARGV[3] or asked > number(record, 'requested')
  or asked <= number(record, 'lease_number') then
  return 0
end
answer_up_to(record, asked)
save(record)
return 1
