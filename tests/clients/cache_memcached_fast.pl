# Stores pages through Cache::Memcached::Fast: "default" or "ketama".

use strict;
use warnings;
use Cache::Memcached::Fast;

my ($mode, @servers) = @ARGV;
my $pages = Cache::Memcached::Fast->new({
    servers => [map { with_weight($_) } @servers],
    $mode eq 'ketama' ? (ketama_points => 160) : (),
});

while (my $line = <STDIN>) {
    chomp $line;
    my ($key, $page) = split /\t/, $line, 2;
    $pages->set($key, $page, 300) or die "not stored: $key\n";
}

sub with_weight {
    my ($host, $port, $weight) = split /:/, shift;
    return { address => "$host:$port", weight => $weight // 1 };
}
