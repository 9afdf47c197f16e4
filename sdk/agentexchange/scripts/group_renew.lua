-- Renews a member's claims: only those that are still its own, and not what it has given back (group_release), which is
-- its own until somebody takes it: renewed, it would wait for this member after all.
--
-- KEYS  1 stream
-- ARGV  1 group  2 consumer  3 at most so many  then pairs: id, delivery count to note (attempts within the member)
-- Result: { {id, delivery count}, ... }: what the member holds, renewed,
--         { ids it held that the log no longer holds: some servers forget them now }

local STREAM, GROUP, CONSUMER, MOST = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local CHUNK = 500
local GIVEN_BACK_MS = 86400000 -- how long idle group_release makes an entry look
local call = redis.call

local held, ids, counts = {}, {}, {}
for _, pending in ipairs(call('XPENDING', STREAM, GROUP, '-', '+', MOST, CONSUMER)) do
    if pending[3] < GIVEN_BACK_MS then
        ids[#ids + 1] = pending[1]
        counts[pending[1]] = pending[4]
    end
end
for i = 4, #ARGV, 2 do
    if counts[ARGV[i]] then
        counts[ARGV[i]] = tonumber(ARGV[i + 1])
        call('XCLAIM', STREAM, GROUP, CONSUMER, 0, ARGV[i], 'RETRYCOUNT', ARGV[i + 1], 'JUSTID')
    end
end
local kept = {}
for from = 1, #ids, CHUNK do
    local part = { unpack(ids, from, math.min(from + CHUNK - 1, #ids)) }
    part[#part + 1] = 'JUSTID'
    for _, id in ipairs(call('XCLAIM', STREAM, GROUP, CONSUMER, 0, unpack(part))) do
        kept[id] = true
    end
end
local gone = {}
for _, id in ipairs(ids) do
    if kept[id] then
        held[#held + 1] = { id, counts[id] }
    else
        gone[#gone + 1] = id
    end
end
return { held, gone }
