-- Acknowledges handled entries of one stream, and notes how far the group has got in each topic.
--
-- KEYS  1 stream  2 marks
-- ARGV  1 group
--       2 the log's name, or "" where it is not known: then nothing is noted
--       3 "1" to delete the entries too (a stream of retries holds nothing that was handled)
--       4 number of entry ids, which follow
--       then pairs: topic, seq
-- Result: how many of the ids were pending.

local STREAM, MARKS = KEYS[1], KEYS[2]
local GROUP, LOG_NAME, DELETES, COUNT = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local CHUNK = 1000
local call = redis.call

local acknowledged, last = 0, 4 + COUNT
for from = 5, last, CHUNK do
    local to = math.min(from + CHUNK - 1, last)
    acknowledged = acknowledged + call('XACK', STREAM, GROUP, unpack(ARGV, from, to))
    if DELETES == '1' then
        call('XDEL', STREAM, unpack(ARGV, from, to))
    end
end

if LOG_NAME ~= '' and last < #ARGV then
    if call('HGET', MARKS, '#id') ~= LOG_NAME then
        call('DEL', MARKS)
        call('HSET', MARKS, '#id', LOG_NAME)
    end
    for i = last + 1, #ARGV, 2 do
        local known = call('HGET', MARKS, ARGV[i])
        if not known or tonumber(known) < tonumber(ARGV[i + 1]) then
            call('HSET', MARKS, ARGV[i], ARGV[i + 1])
        end
    end
end
return acknowledged
