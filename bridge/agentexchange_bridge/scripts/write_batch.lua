-- Applies one batch of a scope's events in one atomic step: all of it, or nothing.
--
-- KEYS  1 lease  2 seq  3 log  4 candle log  5 status  6 latest:orders
-- ARGV  1 owner: <worker>/<epoch>, what the lease must hold
--       2 batch id: unique per encoded batch
--       3 base: what every name of the scope begins with, "ax:{m0}:"
--       4 PUBLISH or SPUBLISH
--       5 flags: one character per event
--           t ticker              log, latest, channel
--           p portfolio           the same
--           c closed candle       candle log, latest, channel
--           f forming candle      channel
--           o order               log, latest:orders:<name>, channel "orders", name joins the open orders
--           x order, final        the same, but it leaves them and its latest key expires after a day
--           n notice              log, channel
--       6 log: oldest id to keep         7 log: entries to keep, about
--       8 candle log: oldest id to keep  9 candle log: entries to keep, about
--       10 number of the seq arguments, which follow: field, value, ... (#batch and #r among them)
--       then the number of status arguments, which follow: field, value, ...
--       then three per event: name (the topic; of an order its key), entry id, envelope
-- Result, a status reply:
--       OK
--       DUPLICATE         this batch was applied before; nothing was written
--       FENCED <holder>   the lease is not the caller's; nothing was written
--       BEHIND <id>       a log's last entry id is not below the batch's first; nothing was written
-- Errors: WRONGTYPE when a key holds another type (nothing was written), and what Redis itself refuses
--       (OOM, MISCONF, READONLY, NOREPLICAS): raised by the first write, so nothing was written either.

local LEASE, SEQ, LOG, CANDLE_LOG, STATUS, OPEN_ORDERS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local OWNER, BATCH, BASE, PUBLISH, FLAGS = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local FINAL_ORDER_TTL_S = 86400

local call, byte, find = redis.call, string.byte, string.find

local holder = call('GET', LEASE)
if holder ~= OWNER then
    return redis.status_reply('FENCED ' .. (holder or ''))
end

local function wrong_type(key, found, wanted)
    return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. wanted)
end

local function type_fault(key, wanted)
    local found = call('TYPE', key).ok
    if found ~= wanted and found ~= 'none' then return wrong_type(key, found, wanted) end
end

local fault = type_fault(SEQ, 'hash')
if fault then return fault end
if call('HGET', SEQ, '#batch') == BATCH then
    return redis.status_reply('DUPLICATE')
end

local seq_last = 10 + tonumber(ARGV[10])
local status_last = seq_last + 1 + tonumber(ARGV[seq_last + 1])
local events = status_last + 1

local function id_parts(id)
    local ms, us = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(ms), tonumber(us)
end

-- An XADD can fail only by the log's type or by an id that is not above its last: looked at before the first write,
-- because what a script wrote before an error stays written.
local function log_fault(log, position)
    local found = call('TYPE', log).ok
    if found == 'none' then return end
    if found ~= 'stream' then return wrong_type(log, found, 'stream') end
    local info = call('XINFO', 'STREAM', log)
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then
            local last_ms, last_us = id_parts(info[i + 1])
            local ms, us = id_parts(ARGV[events + 3 * (position - 1) + 1])
            if ms < last_ms or (ms == last_ms and us <= last_us) then
                return redis.status_reply('BEHIND ' .. info[i + 1])
            end
        end
    end
end

local first_in_log, first_candle = find(FLAGS, '[^cf]'), find(FLAGS, 'c', 1, true)
if first_in_log then fault = log_fault(LOG, first_in_log) end
if first_candle then fault = fault or log_fault(CANDLE_LOG, first_candle) end
if find(FLAGS, '[ox]') then fault = fault or type_fault(OPEN_ORDERS, 'set') end
if status_last > seq_last + 1 then fault = fault or type_fault(STATUS, 'hash') end
if fault then return fault end

-- First the write that Redis refuses when it is out of memory, so that a refusal leaves nothing behind.
call('HSET', SEQ, unpack(ARGV, 11, seq_last))
if status_last > seq_last + 1 then
    call('HSET', STATUS, unpack(ARGV, seq_last + 2, status_last))
end

local TICKER, PORTFOLIO, CLOSED, FORMING, ORDER, FINAL, NOTICE = byte('tpcfoxn', 1, 7)
local LATEST, LATEST_ORDER, ORDERS = BASE .. 'latest:', BASE .. 'latest:orders:', BASE .. 'orders'

local at = events
for i = 1, #FLAGS do
    local flag, name, id, envelope = byte(FLAGS, i), ARGV[at], ARGV[at + 1], ARGV[at + 2]
    at = at + 3
    if flag == TICKER or flag == PORTFOLIO then
        call('XADD', LOG, id, 'e', envelope)
        call('SET', LATEST .. name, envelope)
        call(PUBLISH, BASE .. name, envelope)
    elseif flag == FORMING then
        call(PUBLISH, BASE .. name, envelope)
    elseif flag == CLOSED then
        call('XADD', CANDLE_LOG, id, 'e', envelope)
        call('SET', LATEST .. name, envelope)
        call(PUBLISH, BASE .. name, envelope)
    elseif flag == ORDER then
        call('XADD', LOG, id, 'e', envelope)
        call('SET', LATEST_ORDER .. name, envelope)
        call('SADD', OPEN_ORDERS, name)
        call(PUBLISH, ORDERS, envelope)
    elseif flag == FINAL then
        call('XADD', LOG, id, 'e', envelope)
        call('SET', LATEST_ORDER .. name, envelope, 'EX', FINAL_ORDER_TTL_S)
        call('SREM', OPEN_ORDERS, name)
        call(PUBLISH, ORDERS, envelope)
    elseif flag == NOTICE then
        call('XADD', LOG, id, 'e', envelope)
        call(PUBLISH, STATUS, envelope)
    end
end

-- Once per batch, whole nodes only ("~"): next to nothing when there is nothing to cut off.
if first_in_log then
    call('XTRIM', LOG, 'MINID', '~', ARGV[6])
    call('XTRIM', LOG, 'MAXLEN', '~', ARGV[7])
end
if first_candle then
    call('XTRIM', CANDLE_LOG, 'MINID', '~', ARGV[8])
    call('XTRIM', CANDLE_LOG, 'MAXLEN', '~', ARGV[9])
end
return redis.status_reply('OK')
