-- Takes over pending entries that nobody has renewed for long enough.
--
-- An entry that somebody may have begun is taken alone: should it kill its member, the entries behind it are not counted
-- as delivered once more. Entries that were given back untouched (delivery count 0) are taken together.
--
-- KEYS  1 stream
-- ARGV  1 group  2 consumer: the new owner  3 idle for at least, ms  4 at most so many entries
-- Result: { {id, fields, delivery count with this one, consumer it was taken from, ms it had been idle}, ... },
--         { ids that the log no longer holds: they are pending no more }

local STREAM, GROUP, CONSUMER, IDLE, MOST = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local PAGE = 100
local call = redis.call

local taken, trimmed = {}, {}
for _, pending in ipairs(call('XPENDING', STREAM, GROUP, 'IDLE', IDLE, '-', '+', PAGE)) do
    local id, owner, idle, count = pending[1], pending[2], pending[3], pending[4]
    local entry = call('XRANGE', STREAM, id, id)[1]
    if not entry then
        call('XACK', STREAM, GROUP, id)
        trimmed[#trimmed + 1] = id
    elseif #taken < MOST and (count == 0 or #taken == 0) then
        call('XCLAIM', STREAM, GROUP, CONSUMER, 0, id, 'RETRYCOUNT', count + 1, 'JUSTID')
        taken[#taken + 1] = { id, entry[2], count + 1, owner, idle }
        if count > 0 then break end
    else
        break
    end
end
return { taken, trimmed }
