-- Gives a scope's lease back, so that a standby takes over at once.
--
-- KEYS  1 lease
-- ARGV  1 owner: <worker>/<epoch>, what the lease must hold
-- Result, a status reply:
--       OK
--       FENCED <holder>   the lease is not the caller's; nothing was done

local LEASE = KEYS[1]
local OWNER = ARGV[1]

local holder = redis.call('GET', LEASE)
if holder ~= OWNER then
    return redis.status_reply('FENCED ' .. (holder or ''))
end
redis.call('DEL', LEASE)
return redis.status_reply('OK')
