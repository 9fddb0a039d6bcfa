-- Makes the marker another incarnation's, if it still is what was read.
--
-- KEYS: the marker. ARGV: the incarnation and the epoch that were read, empty without a marker; those to write.
local marked = redis.call('HMGET', KEYS[1], 'incarnation', 'epoch')
if (marked[1] or '') ~= ARGV[1] or (marked[2] or '') ~= ARGV[2] then return 'moved' end
redis.call('HSET', KEYS[1], 'incarnation', ARGV[3], 'epoch', ARGV[4])
return 'taken'
