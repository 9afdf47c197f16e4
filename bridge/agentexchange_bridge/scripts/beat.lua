-- The owner's heartbeat, once a second: renews the lease, writes the scope's status, tells the subscribers.
--
-- KEYS  1 lease  2 status (a hash, and the channel of the same name)
-- ARGV  1 owner: <worker>/<epoch>, what the lease must hold
--       2 time to live, ms
--       3 PUBLISH or SPUBLISH
--       4 heartbeat envelope
--       5... status fields: field, value, ...
-- Result, a status reply:
--       OK
--       FENCED <holder>   the lease is not the caller's; nothing was done
-- Errors: WRONGTYPE when the status is not a hash (the lease is renewed all the same); what Redis itself refuses
--       (MISCONF, READONLY): nothing is written then.

local LEASE, STATUS = KEYS[1], KEYS[2]
local OWNER, TTL_MS, PUBLISH, HEARTBEAT = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local holder = redis.call('GET', LEASE)
if holder ~= OWNER then
    return redis.status_reply('FENCED ' .. (holder or ''))
end

-- The renewal comes first: it is allowed even when Redis is out of memory, and what a script writes after its first
-- write is. So the owner stays the owner, and says how it is, while it waits for room.
redis.call('PEXPIRE', LEASE, TTL_MS)
redis.call('HSET', STATUS, unpack(ARGV, 5))
redis.call(PUBLISH, STATUS, HEARTBEAT)
return redis.status_reply('OK')
