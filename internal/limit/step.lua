-- KEYS[1] holds when its bucket is full again, in microseconds since 1970 by the clock of this server.
-- ARGV: microseconds between two events; in which an empty bucket fills; 1 to take one, 0 to look, -1 to give one back.
-- It returns for how long yet the bucket is not full, and 1 if one is refused.
local interval, span, what = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local kept = redis.pcall('GET', KEYS[1])
local before = now
if type(kept) == 'string' and #kept <= 16 and string.find(kept, '^%d+$') then
  before = tonumber(kept)
end
local full = math.min(math.max(before, now), now + span)
local refused = 0
if what == -1 then
  full = full - interval
elseif full - now > span - interval then
  refused = 1
elseif what == 1 then
  full = full + interval
end
if full <= now then
  full = now
  if kept then
    redis.call('DEL', KEYS[1])
  end
elseif full ~= before then
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
return {full - now, refused}
