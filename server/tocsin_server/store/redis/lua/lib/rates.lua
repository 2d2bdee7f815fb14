-- rates: how many jobs may begin now by a limit's rate, and until when it lets none begin.
-- The generic cell rate algorithm (ITU-T I.371, annex A), virtual scheduling: kept is the time at which the bucket is
-- full again, which each job moves on by per / jobs. A key holds it, of the limit or of the limit and a key, and expires
-- then: >dI6 that time, and until when the limit is halted (0: it is not).
local buckets = {}

local function bucket_of(limit, k)
  local name = limit.scope == OF_KEY and 'R' .. limit.name .. ':' .. k or 'R' .. limit.name
  if not buckets[name] then
    local full, halted = 0, 0
    local kept = redis.call('GET', key(name))
    if kept then full, halted = struct.unpack('>dI6', kept) end
    buckets[name] = {full = math.max(full, NOW), halted = halted}
  end
  return buckets[name]
end

-- How many jobs may begin now, and where it is none, when one may.
local function room_by_rate(limit, k)
  if limit.jobs == 0 and not limit.halts then return NO_LIMIT, 0 end
  local bucket = bucket_of(limit, k)
  if bucket.halted > NOW then return 0, bucket.halted end
  if limit.jobs == 0 then return NO_LIMIT, 0 end
  local each = limit.per / limit.jobs
  local room = math.floor((NOW + limit.burst * each - bucket.full) / each + 0.0001)
  return math.max(0, room), math.max(NOW + 1, math.ceil(bucket.full - (limit.burst - 1) * each))
end

local function count_begun(limit, k)
  if limit.jobs == 0 then return end
  local bucket = bucket_of(limit, k)
  bucket.full, bucket.changed = bucket.full + limit.per / limit.jobs, true
end

local function flush_rates_of_limits()
  for name, bucket in pairs(buckets) do
    if bucket.changed then
      local last = math.ceil(math.max(bucket.full, bucket.halted)) - NOW
      redis.call('SET', key(name), struct.pack('>dI6', bucket.full, bucket.halted), 'PX', string.format('%d', last))
      bucket.changed = false
    end
  end
end
