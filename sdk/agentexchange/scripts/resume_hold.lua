-- Takes, renews or gives up the hold on a durable position.
--
-- KEYS  1 holder  2 position
-- ARGV  1 who  2 for so many ms; 0 to give it up
--       3 the turn in which the caller held it; 0 where it has not yet
-- Result: { 1, turn } when it is (or was) the caller's;
--         { 0, holder, ms until it is free } when it is another's;
--         { 0, "", 0 } when others held it since the caller's turn, though nobody does now: they moved the position.

local HOLDER, POSITION, WHO, FOR_MS, TURN = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local call = redis.call

local holder = call('GET', HOLDER)
if holder and holder ~= WHO then
    return { 0, holder, call('PTTL', HOLDER) }
end
if FOR_MS == 0 then
    call('DEL', HOLDER)
    return { 1, TURN }
end
local turn = tonumber(call('HGET', POSITION, '#turn') or '0')
if TURN == 0 then
    turn = turn + 1
elseif turn == 0 then
    turn = TURN
elseif turn ~= TURN then
    return { 0, '', 0 }
end
call('HSET', POSITION, '#turn', turn)
call('SET', HOLDER, WHO, 'PX', FOR_MS)
return { 1, turn }
