-- ids: from a job_id to its arrival number, and back.
-- A store-made id is a UUIDv8: 48 bits of create time, 26 random bits, 48 bits of arrival number. It is found without an
-- index and is not stored: the record has its random bits, as two numbers of which the second has the UUID's variant
-- before it. One that was made elsewhere, and has another arrival here, is in the index as a caller's is.
local MADE = '^(%x%x%x%x%x%x%x%x)%-(%x%x%x%x)%-8(%x%x%x)%-([89ab]%x%x%x)%-(%x%x%x%x%x%x%x%x%x%x%x%x)$'

local function made_id(n, create, own)
  local first, second = struct.unpack('>I2I2', own)
  return string.format('%08x-%04x-8%03x-%04x-%04x%08x', math.floor(create / 65536), create % 65536, first, second,
    math.floor(n / 4294967296), n % 4294967296)
end

-- What a store-made id is made of: arrival number, create time, own; nil where it is none.
local function read_id(id)
  local high, low, first, second, n = string.match(id, MADE)
  if not n then return nil end
  local number, create = tonumber(n, 16), tonumber(high .. low, 16)
  local own = struct.pack('>I2I2', tonumber(first, 16), tonumber(second, 16))
  if made_id(number, create, own) ~= id then return nil end  -- in capital letters
  return number, create, own
end

local function id_of(job)
  if has(job, OWN_ID) then return string.sub(job.own, 3) end
  return made_id(job.n, job.create, job.own)
end

local function with_length(id)
  return struct.pack('>I2', #id) .. id
end

-- The arrival number of the job that bears this id, and the job itself where it had to be read for that; `at` is what the
-- index says of it, where that was asked already.
local function find(id, at)
  if at == nil then at = redis.call('HGET', key('d'), id) end
  if at then return (struct.unpack('>I6', at)) end
  local n, create, own = read_id(id)
  local job = n and (touched[n] or load(n))
  if job and not has(job, OWN_ID) and job.create == create and job.own == own then return n, job end
  return nil
end

-- The job as it stands, with what this call has changed already.
local function find_job(id, at)
  local n, job = find(id, at)
  job = n and (touched[n] or job or load(n))
  return job and not job.gone and job or nil
end

-- Where ids stand as the index says, asked as one question: false for what is not in it.
local function places_of(ids)
  local found = {}
  for i = 1, #ids, 1000 do
    for _, at in ipairs(redis.call('HMGET', key('d'), unpack(ids, i, math.min(i + 999, #ids)))) do
      found[#found + 1] = at
    end
  end
  return found
end
