-- Gives pending entries back, so that other members need not wait until the claim has grown old.
--
-- KEYS  1 stream
-- ARGV  1 group  2 consumer: who gives back  then pairs: id, delivery count to leave (0: it was not begun)
-- Result: how many were its own. A consumer that then holds nothing is deleted.

local STREAM, GROUP, CONSUMER = KEYS[1], ARGV[1], ARGV[2]
local LONG_IDLE_MS = 86400000 -- by which group_renew knows it
local call = redis.call

local released = 0
for i = 3, #ARGV, 2 do
    local pending = call('XPENDING', STREAM, GROUP, ARGV[i], ARGV[i], 1, CONSUMER)[1]
    if pending then
        call('XCLAIM', STREAM, GROUP, CONSUMER, 0, ARGV[i], 'IDLE', LONG_IDLE_MS, 'RETRYCOUNT', ARGV[i + 1], 'JUSTID')
        released = released + 1
    end
end
if #call('XPENDING', STREAM, GROUP, '-', '+', 1, CONSUMER) == 0 then
    call('XGROUP', 'DELCONSUMER', STREAM, GROUP, CONSUMER)
end
return released
