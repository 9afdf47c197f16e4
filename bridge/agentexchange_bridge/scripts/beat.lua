-- The owner's heartbeat, once a second: renews the lease, writes the scope's status, tells the subscribers, and now and
-- then saves the state of the candles under way.
--
-- KEYS  1 lease  2 status (a hash, and the channel of the same name)  3 candle state, where there is one to save
-- ARGV  1 owner: <worker>/<epoch>, what the lease must hold
--       2 time to live, ms
--       3 PUBLISH or SPUBLISH
--       4 heartbeat envelope
--       5 candle state to save, "" for none: that of a moment at which every closed candle was written
--       6... status fields: field, value, ...
-- Result, a status reply:
--       OK
--       FENCED <holder>   the lease is not the caller's; nothing was done
-- Errors: WRONGTYPE when the status is not a hash (the lease is renewed all the same); what Redis itself refuses
--       (MISCONF, READONLY): nothing is written then.

local LEASE, STATUS, CANDLE_STATE = KEYS[1], KEYS[2], KEYS[3]
local OWNER, TTL_MS, PUBLISH, HEARTBEAT, STATE = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local STATE_TTL_S = 86400

local holder = redis.call('GET', LEASE)
if holder ~= OWNER then
    return redis.status_reply('FENCED ' .. (holder or ''))
end

-- The renewal comes first: it is allowed even when Redis is out of memory, and what a script writes after its first
-- write is. So the owner stays the owner, and says how it is, while it waits for room.
redis.call('PEXPIRE', LEASE, TTL_MS)
redis.call('HSET', STATUS, unpack(ARGV, 6))
if STATE ~= '' then
    redis.call('SET', CANDLE_STATE, STATE, 'EX', STATE_TTL_S)
end
redis.call(PUBLISH, STATUS, HEARTBEAT)
return redis.status_reply('OK')
