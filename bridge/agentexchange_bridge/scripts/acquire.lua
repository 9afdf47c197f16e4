-- Takes a scope's lease, or keeps the one the caller holds, and returns what an owner starts from.
--
-- KEYS  1 lease  2 epoch  3 seq  4 log  5 candle log  6 status
-- ARGV  1 worker id
--       2 epoch the caller last held the lease under, 0 for none
--       3 time to live, ms
--       4 log id to give a scope that has none
--       5 1 to take the lease if it is free, 0 only to look
--       6 r of the last event that the caller knows to be written
-- Result, an array:
--       refused  {0, holder, ms left}
--       free     {2, stored epoch, cause in the status hash or ""}: only looked, nothing was written
--       granted  {1, epoch, stored epoch before, last id of the log, last id of the candle log ("0-0" for none),
--                 seq hash as field, value, ..., status hash as field, value, ...}
-- The epoch is the one held where the lease still names it and nothing the caller wrote is missing, else max(stored + 1, held + 1, the server's Unix
-- seconds): it grows even past a wiped server. A lease of the same worker under another epoch (an answer that was lost) is its own.
-- Errors: WRONGTYPE when a key holds another type; what Redis itself refuses. Nothing is written then.

local LEASE, EPOCH, SEQ, LOG, CANDLE_LOG, STATUS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local WORKER, HELD_EPOCH, TTL_MS, NEW_LOG_ID, TAKE, WRITTEN = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local call = redis.call

for key, wanted in pairs({
    [LEASE] = 'string', [EPOCH] = 'string', [SEQ] = 'hash', [LOG] = 'stream', [CANDLE_LOG] = 'stream', [STATUS] = 'hash',
}) do
    local found = call('TYPE', key).ok
    if found ~= wanted and found ~= 'none' then
        return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. wanted)
    end
end

local holder = call('GET', LEASE)
if holder and string.sub(holder, 1, #WORKER + 1) ~= WORKER .. '/' then
    return {0, holder, call('PTTL', LEASE)}
end

-- A count as a key or field holds it; 0 for anything else, and beyond what a double counts exactly.
local function count(text)
    local number = tonumber(text or '')
    return number and number >= 0 and number < 2 ^ 53 and number or 0
end

local stored = count(call('GET', EPOCH))
if not holder and TAKE == '0' then
    return {2, stored, call('HGET', STATUS, 'cause') or ''}
end

local function last_id(log)
    if call('EXISTS', log) == 0 then return '0-0' end
    local info = call('XINFO', 'STREAM', log)
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then return info[i + 1] end
    end
end

-- A server that came back without its newest writes gives their seqs out again: by the new epoch a reader knows that.
local has_forgotten = count(call('HGET', SEQ, '#r')) < tonumber(WRITTEN)

local epoch
if not has_forgotten and holder == WORKER .. '/' .. HELD_EPOCH then
    epoch = tonumber(HELD_EPOCH)
    call('PEXPIRE', LEASE, TTL_MS)
else
    epoch = math.max(stored + 1, tonumber(HELD_EPOCH) + 1, tonumber(call('TIME')[1]))
    local text = string.format('%.0f', epoch)
    call('SET', EPOCH, text)
    call('SET', LEASE, WORKER .. '/' .. text, 'PX', TTL_MS)
end
if call('HEXISTS', SEQ, '#id') == 0 then
    call('HSET', SEQ, '#id', NEW_LOG_ID)
end
return {1, epoch, stored, last_id(LOG), last_id(CANDLE_LOG), call('HGETALL', SEQ), call('HGETALL', STATUS)}
