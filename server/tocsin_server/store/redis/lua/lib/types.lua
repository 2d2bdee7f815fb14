-- types: whether a queue may have one more type; TYPES_PER_QUEUE bounds what listing and counting walk.
local known_types, known_count = nil, 0

local function type_fits(type)
  if not known_types then
    known_types = {}
    for _, field in ipairs(redis.call('HKEYS', key('n'))) do
      local name = string.sub(field, 3)
      if not known_types[name] then known_types[name], known_count = true, known_count + 1 end
    end
  end
  if known_types[type] then return true end
  if known_count >= TYPES_PER_QUEUE then return false end
  known_types[type], known_count = true, known_count + 1
  return true
end
