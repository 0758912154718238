use Fcntl ":flock";
open(my $lock, ">>", "lock") or die;
flock($lock, LOCK_EX) or die;
if ($ARGV[0] eq "remove") {
	unlink "token";
} else {
	-e "token" or exit;
	sleep 1;
}
open(my $log, ">>", "log");
print $log "$ARGV[0]\n";
