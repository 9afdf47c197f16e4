-- Takes, renews or gives up the hold on a durable position.
--
-- KEYS  1 holder
-- ARGV  1 who  2 for so many ms; 0 to give it up
-- Result: { 1 } when it is (or was) the caller's; { 0, holder, ms until it is free } when it is another's.

local HOLDER, WHO, FOR_MS = KEYS[1], ARGV[1], tonumber(ARGV[2])
local call = redis.call

local holder = call('GET', HOLDER)
if holder and holder ~= WHO then
    return { 0, holder, call('PTTL', HOLDER) }
end
if FOR_MS > 0 then
    call('SET', HOLDER, WHO, 'PX', FOR_MS)
elseif holder then
    call('DEL', HOLDER)
end
return { 1 }
