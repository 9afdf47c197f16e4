-- Hands one dead letter to its group once more, and to nobody else.
--
-- KEYS  1 dead letters  2 the retry stream of the log it came from
-- ARGV  1 dead letter's id
-- Result: 1; 0 where there is no such letter (any more).

local DEAD, RETRY, ID = KEYS[1], KEYS[2], ARGV[1]
local call = redis.call

local letter = call('XRANGE', DEAD, ID, ID)[1]
if not letter then
    return 0
end
local kept = {}
local fields = letter[2]
for i = 1, #fields, 2 do
    if fields[i] == 'e' then
        kept[#kept + 1], kept[#kept + 2] = fields[i], fields[i + 1]
    end
end
for i = 1, #fields, 2 do
    if fields[i] == 'history' or fields[i] == 'id' then
        kept[#kept + 1], kept[#kept + 2] = fields[i], fields[i + 1]
    end
end
call('XADD', RETRY, '*', unpack(kept))
call('XDEL', DEAD, ID)
return 1
