-- Writes rows of an epoch and moves the marker, or does neither.
--
-- KEYS: the marker, and each key that is written to, so that a user's rights to them are checked before this runs.
-- ARGV: incarnation, epoch, the epoch that the server has confirmed, number of the first row, number after the last one, 1 if
-- they are the last of the epoch, the type of the keys; then of each command the number of its arguments, and those.
--
-- What a script has written stays when it fails. So all that can fail is looked at before the first command that writes:
-- the marker, the types of the keys, a stream that takes no entry. The server itself refuses only the first of these commands
-- (OOM, READONLY, MISCONF, NOREPLICAS), which changes nothing; it also shows that the marker can be written. If a later one
-- fails nevertheless, the marker stays where it is, and the rows count as not written.
local marker, incarnation, epoch = KEYS[1], ARGV[1], ARGV[2]
local from, to, last, kind = tonumber(ARGV[4]), ARGV[5], ARGV[6] == '1', ARGV[7]

local is = redis.call('TYPE', marker).ok
if is ~= 'hash' then
  if is == 'none' then return {'gone'} end
  return {'type', marker, is}
end
local marked = redis.call('HMGET', marker, 'incarnation', 'epoch', 'begun', 'rows')
if not (marked[1] and tonumber(marked[2])) then return {'damaged'} end
if marked[1] ~= incarnation then return {'another', marked[2]} end
if tonumber(marked[2]) >= tonumber(epoch) then return {'before'} end
if tonumber(marked[2]) < tonumber(ARGV[3]) then return {'behind', marked[2]} end
local at = 0
if marked[3] == epoch then at = tonumber(marked[4]) end
if at ~= from then return {'at', tostring(at)} end

for i = 2, #KEYS do
  is = redis.call('TYPE', KEYS[i]).ok
  if is ~= 'none' and is ~= kind then return {'type', KEYS[i], is} end
  if is == 'stream' then
    local info = redis.call('XINFO', 'STREAM', KEYS[i])
    for j = 1, #info, 2 do
      if info[j] == 'last-generated-id' and string.sub(info[j + 1], 1, 20) == '18446744073709551615' then
        return {'full', KEYS[i]}
      end
    end
  end
end

-- Returns seconds and nanoseconds of a google.protobuf.Timestamp. One that is damaged, or before 1970, is older than any.
local function time_of(text)
  local times, at = {[8] = 0, [16] = 0}, 1
  while at <= #text do
    local tag, value, unit, byte = string.byte(text, at), 0, 1, nil
    repeat
      at = at + 1
      byte = string.byte(text, at)
      if not byte then return -1, 0 end
      value, unit = value + byte % 128 * unit, unit * 128
    until byte < 128
    times[tag], at = value, at + 1
  end
  if times[8] >= 2 ^ 63 then return -1, 0 end
  return times[8], times[16]
end

-- Feast's layout: key, name of the time, time, its seconds and nanoseconds, TTL, fields and values.
local function write_features(at, last)
  local key, field, seconds, nanos, ttl = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), ARGV[at + 5]
  local before = redis.call('HGET', key, field)
  if before then
    local of_seconds, of_nanos = time_of(before)
    if of_seconds > seconds or of_seconds == seconds and of_nanos > nanos then return end
  end
  redis.call('HSET', key, field, ARGV[at + 2], unpack(ARGV, at + 6, last))
  if ttl ~= '' then redis.call('PEXPIRE', key, ttl) end
end

redis.call('HSET', marker, 'incarnation', incarnation)
local i = 8
while i <= #ARGV do
  local count = tonumber(ARGV[i])
  if ARGV[i + 1] == 'FEAST' then
    write_features(i + 2, i + count)
  else
    redis.call(unpack(ARGV, i + 1, i + count))
  end
  i = i + 1 + count
end
if last then
  redis.call('HSET', marker, 'epoch', epoch)
  redis.call('HDEL', marker, 'begun', 'rows')
else
  redis.call('HSET', marker, 'begun', epoch, 'rows', to)
end
return {'written'}
