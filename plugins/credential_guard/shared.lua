-- KEYS: a record, and perhaps the account that it is of. ARGV: what to do; the milliseconds in which a failure is forgotten;
-- how many there may be; the first lockout; the longest.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local every, failures, delay, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if ARGV[1] == 'end' then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'ended', now)
  redis.call('PEXPIRE', KEYS[1], most * 2 + every * (failures + 1))
  return {0, 0, failures}
end
local kept = redis.call('HMGET', KEYS[1], 'full', 'until', 'level', 'last')
local full, till = tonumber(kept[1]) or 0, tonumber(kept[2]) or 0
local level, last = tonumber(kept[3]) or 0, tonumber(kept[4]) or 0
if KEYS[2] then
  local ended = tonumber(redis.call('HGET', KEYS[2], 'ended')) or 0
  if ended >= last then full, till, level = 0, 0, 0 end
end
local function left()
  return math.max(failures - math.ceil(math.max(full - now, 0) / every), 0)
end
if ARGV[1] == 'ask' then return {math.max(till - now, 0), 0, left()} end
if now >= till + most then level = 0 end
full = math.min(math.max(full, now) + every, math.max(now + every * (failures + 1), full))
local begun = 0
if left() == 0 then
  local wait = math.max(full - now - every * (failures - 1), 0)
  till = math.max(till, now + math.max(math.min(delay * 2 ^ level, most), wait))
  level = math.min(level + 1, 40)
  begun = 1
end
redis.call('HSET', KEYS[1], 'full', full, 'until', till, 'level', level, 'last', now)
redis.call('PEXPIRE', KEYS[1], math.max(full, till + most) - now + 1)
return {math.max(till - now, 0), begun, left()}
