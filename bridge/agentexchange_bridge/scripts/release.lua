-- Gives a scope's lease back, so that a standby takes over at once, and leaves it the state of the candles under way.
--
-- KEYS  1 lease  2 candle state, where there is one to save
-- ARGV  1 owner: <worker>/<epoch>, what the lease must hold
--       2 candle state to save, "" for none: that of a moment at which every closed candle was written
-- Result, a status reply:
--       OK
--       FENCED <holder>   the lease is not the caller's; nothing was done

local LEASE, CANDLE_STATE = KEYS[1], KEYS[2]
local OWNER, STATE = ARGV[1], ARGV[2]
local STATE_TTL_S = 86400

local holder = redis.call('GET', LEASE)
if holder ~= OWNER then
    return redis.status_reply('FENCED ' .. (holder or ''))
end
-- First what is allowed even when Redis is out of memory; what a script writes after its first write is.
redis.call('DEL', LEASE)
if STATE ~= '' then
    redis.call('SET', CANDLE_STATE, STATE, 'EX', STATE_TTL_S)
end
return redis.status_reply('OK')
