-- Deletes consumers that are gone: nothing pending, nothing asked for a long time.
--
-- KEYS  1 stream
-- ARGV  1 group  2 idle for at least, ms
-- Result: how many.

local STREAM, GROUP, IDLE = KEYS[1], ARGV[1], tonumber(ARGV[2])
local call = redis.call

local deleted = 0
for _, info in ipairs(call('XINFO', 'CONSUMERS', STREAM, GROUP)) do
    local known = {}
    for i = 1, #info, 2 do
        known[info[i]] = info[i + 1]
    end
    if known['pending'] == 0 and known['idle'] >= IDLE then
        call('XGROUP', 'DELCONSUMER', STREAM, GROUP, known['name'])
        deleted = deleted + 1
    end
end
return deleted
