-- ARGV: clock, reference, token. Returns how the run stands, as prelude.lua words it, and
-- the number of the newest request.

local record = image(ARGV[2])
return {standing(record, ARGV[3]), number(record, 'requested')}
