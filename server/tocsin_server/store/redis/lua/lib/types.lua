-- types: whether a queue may have one more type; TYPES_PER_QUEUE bounds what listing and counting walk. And whether it
-- may hold one more job (JOBS_PER_QUEUE, 0: any number); jobs of this call are counted where they are new.
local known_types, known_count, known_jobs = nil, 0, 0

local function read_counts()
  if known_types then return end
  known_types = {}
  local counts = redis.call('HGETALL', key('n'))
  for i = 1, #counts, 2 do
    local name = string.sub(counts[i], 3)
    known_jobs = known_jobs + tonumber(counts[i + 1])
    if not known_types[name] then known_types[name], known_count = true, known_count + 1 end
  end
end

local function job_fits()
  read_counts()
  if JOBS_PER_QUEUE > 0 and known_jobs >= JOBS_PER_QUEUE then return false end
  known_jobs = known_jobs + 1
  return true
end

local function type_fits(type)
  read_counts()
  if known_types[type] then return true end
  if known_count >= TYPES_PER_QUEUE then return false end
  known_types[type], known_count = true, known_count + 1
  return true
end
