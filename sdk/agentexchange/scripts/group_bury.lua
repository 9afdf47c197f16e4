-- Moves an entry that failed too often to the dead letters: written there first, then acknowledged.
--
-- KEYS  1 stream  2 dead letters
-- ARGV  1 group  2 consumer  3 entry id
--       4 "1" to bury it though it is not pending (a replaced or trimmed log has forgotten it)
--       5 "1" to delete the entry too (in a stream of retries)
--       6 dead letters to keep: the oldest go
--       then field, value, ...
-- Result: the dead letter's id; nil where another member holds or has handled the entry, and nothing was done.

local STREAM, DEAD = KEYS[1], KEYS[2]
local GROUP, CONSUMER, ID, FORCED, DELETES, MAX = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local call = redis.call

if FORCED ~= '1' and #call('XPENDING', STREAM, GROUP, ID, ID, 1, CONSUMER) == 0 then
    return false
end
local letter = call('XADD', DEAD, 'MAXLEN', MAX, '*', unpack(ARGV, 7))
if FORCED ~= '1' then
    call('XACK', STREAM, GROUP, ID)
end
if DELETES == '1' then
    call('XDEL', STREAM, ID)
end
return letter
