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
--       UNSTORED <error>  renewed and told, but Redis refused to store the status (out of memory)
--       FENCED <holder>   the lease is not the caller's; nothing was done
-- Errors: what Redis itself refuses (MISCONF, READONLY). Nothing is written then.

local LEASE, STATUS = KEYS[1], KEYS[2]
local OWNER, TTL_MS, PUBLISH, HEARTBEAT = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local holder = redis.call('GET', LEASE)
if holder ~= OWNER then
    return redis.status_reply('FENCED ' .. (holder or ''))
end

-- Allowed even when Redis is out of memory: the owner stays the owner while it waits for room.
redis.call('PEXPIRE', LEASE, TTL_MS)
local stored = redis.pcall('HSET', STATUS, unpack(ARGV, 5))
redis.call(PUBLISH, STATUS, HEARTBEAT)
if type(stored) == 'table' and stored.err then
    return redis.status_reply('UNSTORED ' .. stored.err)
end
return redis.status_reply('OK')
