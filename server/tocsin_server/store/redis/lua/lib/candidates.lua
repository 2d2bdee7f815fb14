-- candidates: what a claim may lease next, best first: heads of rows of keys, and the first of the rows of types.
local heads, at = {}, 1

local function is_before(one, other)
  return one.score < other.score or (one.score == other.score and one.member < other.member)
end

-- Reads `size` of a row, of which `most` could be taken. A row that is cut must not be passed by: what stands next in it
-- was not read. Of heads some may have to be parked, so it is cut wherever there may be more.
local function read_row(name, type, keyed, size, most)
  if size <= 0 then return end
  local row = redis.call('ZRANGE', key(name), 0, size - 1, 'WITHSCORES')
  local from = {name = name, left = #row / 2, cut = #row == 2 * size and (keyed or size < most)}
  for i = 1, #row, 2 do
    heads[#heads + 1] = {member = row[i], score = tonumber(row[i + 1]), type = type, keyed = keyed, from = from}
  end
end

-- Puts one in its place among those that are left.
local function put_in(one)
  local i = #heads
  while i >= at and is_before(one, heads[i]) do
    heads[i + 1] = heads[i]
    i = i - 1
  end
  heads[i + 1] = one
end
