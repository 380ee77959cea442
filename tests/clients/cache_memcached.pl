# Stores pages through Cache::Memcached.

use strict;
use warnings;
use Cache::Memcached;

my $pages = Cache::Memcached->new({ servers => [map { with_weight($_) } @ARGV], no_rehash => 1 });

while (my $line = <STDIN>) {
    chomp $line;
    my ($key, $page) = split /\t/, $line, 2;
    $pages->set($key, $page, 300) or die "not stored: $key\n";
}

sub with_weight {
    my ($host, $port, $weight) = split /:/, shift;
    return $weight ? ["$host:$port", $weight] : "$host:$port";
}
