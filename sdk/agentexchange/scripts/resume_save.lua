-- Saves a durable position, if the caller still holds it.
--
-- KEYS  1 holder  2 position
-- ARGV  1 who  2 the log's name: a position in another log is forgotten first  then field, value, ...
-- Result: 1 saved, 0 the hold is lost and nothing was written.

local HOLDER, POSITION, WHO, LOG_NAME = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local call = redis.call

if call('GET', HOLDER) ~= WHO then
    return 0
end
local known = call('HGET', POSITION, '#id')
if known and known ~= LOG_NAME then
    local turn = call('HGET', POSITION, '#turn')
    call('DEL', POSITION)
    call('HSET', POSITION, '#turn', turn or 1)
end
call('HSET', POSITION, '#id', LOG_NAME, unpack(ARGV, 3))
return 1
