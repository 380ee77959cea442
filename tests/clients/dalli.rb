# Stores pages through dalli.

require 'dalli'

pages = Dalli::Client.new(ARGV, compress: false, failover: false)

$stdin.binmode.each_line(chomp: true) do |line|
  key, page = line.split("\t", 2)
  pages.set(key, page, 300, raw: true) or abort "not stored: #{key}"
end
